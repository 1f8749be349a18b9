/** What the server is told from outside, read at run time: one build serves any address. An empty value is none. */
export const environment = {
  get secret() {
    const secret = process.env.BETTER_AUTH_SECRET ?? "";
    if (Buffer.byteLength(secret) >= 32) return secret;
    throw new Error(
      "BETTER_AUTH_SECRET must be set to 32 bytes or more. Make one with `openssl rand -base64 32` and put it into .env.",
    );
  },
  get url() {
    return process.env.BETTER_AUTH_URL || "http://localhost:3000";
  },
  get apiUrl() {
    return (process.env.API_URL || "http://localhost:8000").replace(/\/+$/, "");
  },
  get databaseUrl() {
    return process.env.AUTH_DATABASE_URL || "auth.db";
  },
  get jwtMode() {
    const mode = process.env.JWT_MODE || "jwks";
    if (mode === "jwks" || mode === "hs256") return mode;
    throw new Error(`JWT_MODE is "${mode}"; it must be "jwks" or "hs256".`);
  },
  /** Tests sign up more people than a person would. Only on this machine, so that nothing deployed can go without. */
  get isUnlimited() {
    const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(this.url).hostname);
    return isLocal && process.env.AUTH_RATE_LIMIT === "off";
  },
};
