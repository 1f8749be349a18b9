"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { type FormEvent, useEffect, useState } from "react";
import { authClient } from "@/lib/auth-client";
import { forgetTasks } from "@/lib/keeper";
import { forgetPage } from "@/lib/page-cache";
import { Brand } from "./brand";
import { Field } from "./field";

const TEXTS = {
  "sign-in": {
    title: "Welcome back",
    button: "Sign in",
    pending: "Signing in…",
    question: "New here?",
    other: { href: "/sign-up", text: "Create an account" },
  },
  "sign-up": {
    title: "Create an account",
    button: "Sign up",
    pending: "Signing up…",
    question: "Already have an account?",
    other: { href: "/sign-in", text: "Sign in" },
  },
} as const;

/** Only when the server says that nobody is signed in. */
async function forgetIdle() {
  const { data, error } = await authClient.getSession();
  if (data === null && !error) await forgetTasks();
}

export function CredentialsForm({ mode }: { mode: keyof typeof TEXTS }) {
  const router = useRouter();
  const [isPending, setPending] = useState(false);
  const [error, setError] = useState("");
  const text = TEXTS[mode];
  const isNew = mode === "sign-up";

  // The session may just have ended. What waits is kept for the same person.
  useEffect(() => {
    void forgetPage();
    forgetIdle().catch(() => {});
  }, []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    if (isPending) return;
    const form = new FormData(event.currentTarget);
    const value = (name: string) => String(form.get(name) ?? "");
    const credentials = { email: value("email"), password: value("password") };
    setPending(true);
    setError("");
    const { error } = await (
      isNew ? authClient.signUp.email({ ...credentials, name: value("name") }) : authClient.signIn.email(credentials)
    ).catch(() => ({ error: { message: "The server cannot be reached. Check your connection and try again." } }));
    if (error) {
      setError(error.message || "That did not work. Try again later.");
      setPending(false);
      return;
    }
    router.replace("/");
  }

  return (
    <main className="narrow">
      <Brand />
      <div className="card">
        <h1>{text.title}</h1>
        {/* Sent before React has taken over, a password must not end up in the address. */}
        <form method="post" className="stack" onSubmit={submit}>
          {isNew && <Field label="Name" name="name" autoComplete="name" maxLength={100} required />}
          <Field label="Email" name="email" type="email" autoComplete="email" required />
          <Field
            label="Password"
            hint={isNew ? "at least 8 characters" : undefined}
            name="password"
            type="password"
            autoComplete={isNew ? "new-password" : "current-password"}
            minLength={isNew ? 8 : undefined}
            maxLength={128}
            required
          />
          <p role="alert" className="alert" hidden={!error}>
            {error}
          </p>
          <button className="primary" aria-disabled={isPending}>
            {isPending ? text.pending : text.button}
          </button>
        </form>
      </div>
      <p className="muted">
        {text.question} <Link href={text.other.href}>{text.other.text}</Link>
      </p>
    </main>
  );
}
