import type { Metadata } from "next";
import { redirect } from "next/navigation";
import { CredentialsForm } from "@/components/credentials-form";
import { getUser } from "@/lib/session";

export const metadata: Metadata = { title: "Sign up" };

export default async function SignUpPage() {
  if (await getUser()) redirect("/");
  return <CredentialsForm mode="sign-up" />;
}
