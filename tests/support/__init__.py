"""What tests share: servers and processes, a network to disturb, tokens, and readers of what was answered and sent."""
