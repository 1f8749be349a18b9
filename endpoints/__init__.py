"""The endpoints, by subject: parse, await one function of the store or of `queries`, answer."""
