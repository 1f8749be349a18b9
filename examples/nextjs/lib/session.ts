import { headers } from "next/headers";
import { getAuth } from "./auth";

/** Who is signed in, for server components; null when nobody is. */
export async function getUser() {
  // First of all: here a build finds out that the page is made on request, and leaves it alone.
  const requestHeaders = await headers();
  const session = await getAuth().api.getSession({ headers: requestHeaders });
  return session?.user ?? null;
}
