"""The queries around tasks: users, answers to requests that are sent again, and what changed since."""
