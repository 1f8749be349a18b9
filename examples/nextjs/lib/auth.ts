import { betterAuth, type BetterAuthOptions } from "better-auth";
import { bearer, jwt } from "better-auth/plugins";
import { SignJWT, type JWTPayload } from "jose";
import { SqliteDialect } from "kysely";
import Database from "libsql";
import { Pool } from "pg";
import { environment } from "./environment";

function database() {
  const url = environment.databaseUrl;
  if (/^postgres(ql)?:/.test(url)) return new Pool({ connectionString: url });
  const file = new Database(url.replace(/^file:/, ""), { timeout: 5000 });
  return { dialect: new SqliteDialect({ database: file }), type: "sqlite" as const, transaction: true };
}

/** Tokens signed with the shared secret, with the same claims as those of a key pair. */
function sharedSecretJwt() {
  const key = new TextEncoder().encode(environment.secret);
  const sign = (claims: JWTPayload) => new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(key);
  return jwt({
    // Better Auth takes a `sign` only with these two, though it uses neither.
    jwks: { remoteUrl: new URL("/api/auth/jwks", environment.url).href, keyPairConfig: { alg: "EdDSA" } },
    jwt: { sign },
  });
}

/** Apart from the instance, because the tables are made before there is one: it complains when they are missing. */
export const createOptions = () =>
  ({
    baseURL: environment.url,
    secret: environment.secret,
    database: database(),
    emailAndPassword: { enabled: true },
    plugins: [environment.jwtMode === "hs256" ? sharedSecretJwt() : jwt(), bearer()],
    // Otherwise as it comes: on in production, three sign-ins or sign-ups in ten seconds from one address.
    rateLimit: environment.isUnlimited ? { enabled: false } : {},
    telemetry: { enabled: false },
  }) satisfies BetterAuthOptions;

const createAuth = () => betterAuth(createOptions());

let auth: ReturnType<typeof createAuth> | undefined;

/** Made when first asked for, because a build has neither a secret nor a database. */
export const getAuth = () => (auth ??= createAuth());
