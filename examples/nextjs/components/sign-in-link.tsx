import { ApiError } from "@/lib/api";

/** Only for an error that asks for it. */
export function SignInLink({ error }: { error: Error | null }) {
  if (!(error instanceof ApiError) || error.status !== 401) return null;
  // The page ends with the session: what still runs in it must not go on for the next one.
  return <a href="/sign-in">Sign in</a>;
}
