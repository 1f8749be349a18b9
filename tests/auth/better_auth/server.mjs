// A real Better Auth with e-mail sign-up, kept in memory, for the end-to-end test. MODE chooses who
// signs the tokens: `hs256` the shared secret, any other algorithm a key pair published as a JWKS.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";
import { bearer, jwt } from "better-auth/plugins";
import { SignJWT } from "jose";

const { PORT, MODE = "eddsa", BETTER_AUTH_SECRET, BETTER_AUTH_URL } = process.env;
if (!PORT || !BETTER_AUTH_SECRET || !BETTER_AUTH_URL) {
  throw new Error("PORT, BETTER_AUTH_SECRET and BETTER_AUTH_URL must be set");
}

const keyPair = (alg) => jwt({ jwks: { keyPairConfig: { alg } } });

const sharedSecret = () => {
  const key = new TextEncoder().encode(BETTER_AUTH_SECRET);
  const sign = (claims, header) =>
    new SignJWT(claims).setProtectedHeader({ ...header, alg: "HS256" }).sign(key);
  return jwt({
    // Better Auth takes a `sign` only with these two, though nothing is fetched from the URL.
    jwks: { remoteUrl: `${BETTER_AUTH_URL}/api/auth/jwks`, keyPairConfig: { alg: "HS256" } },
    jwt: { sign },
  });
};

const signers = {
  eddsa: () => jwt(),
  es256: () => keyPair("ES256"),
  es512: () => keyPair("ES512"),
  ps256: () => keyPair("PS256"),
  rs256: () => keyPair("RS256"),
  hs256: sharedSecret,
};
if (!Object.hasOwn(signers, MODE)) {
  throw new Error(`MODE is "${MODE}"; it must be one of ${Object.keys(signers).join(", ")}`);
}

const auth = betterAuth({
  baseURL: BETTER_AUTH_URL,
  secret: BETTER_AUTH_SECRET,
  // Named, because without one Better Auth also caches the session, user and all, in a cookie.
  database: memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] }),
  emailAndPassword: { enabled: true },
  user: { deleteUser: { enabled: true } },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins: [signers[MODE](), bearer()],
});
// Until this settles a bad configuration would only show at the first request.
await auth.$context;

const server = createServer(toNodeHandler(auth));
server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`ready http://127.0.0.1:${server.address().port}`);
});
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
