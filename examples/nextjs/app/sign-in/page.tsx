import type { Metadata } from "next";
import { redirect } from "next/navigation";
import { CredentialsForm } from "@/components/credentials-form";
import { getUser } from "@/lib/session";

export const metadata: Metadata = { title: "Sign in" };

export default async function SignInPage() {
  if (await getUser()) redirect("/");
  return <CredentialsForm mode="sign-in" />;
}
