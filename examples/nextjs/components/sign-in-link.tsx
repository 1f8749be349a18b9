import Link from "next/link";
import { ApiError } from "@/lib/api";

/** Only for an error that asks for it. */
export function SignInLink({ error }: { error: Error | null }) {
  if (!(error instanceof ApiError) || error.status !== 401) return null;
  return (
    <Link href="/sign-in" prefetch={false}>
      Sign in
    </Link>
  );
}
