"use client";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";
import { createApi } from "@/lib/api";
import { authClient } from "@/lib/auth-client";
import { ApiContext, retryDelay, shouldRetry } from "@/lib/tasks";
import { Brand } from "./brand";
import { TaskList } from "./task-list";

// "always": when the browser thinks it is offline there is an error to read, and not a query that waits for ever.
const newQueryClient = () =>
  new QueryClient({
    defaultOptions: {
      queries: { networkMode: "always", retry: shouldRetry, retryDelay, staleTime: 5_000 },
      mutations: { networkMode: "always" },
    },
  });

type Props = { apiUrl: string; user: { id: string; name: string; email: string } };

/** Token and cached tasks live as long as this component, which belongs to one person. */
export function TaskApp({ apiUrl, user }: Props) {
  const router = useRouter();
  const [api] = useState(() => createApi(apiUrl, user.id));
  const [queryClient] = useState(newQueryClient);
  const [isLeaving, setLeaving] = useState(false);
  const [error, setError] = useState("");

  async function signOut() {
    if (isLeaving) return;
    setLeaving(true);
    setError("");
    const { error } = await authClient.signOut().catch((error: unknown) => ({ error }));
    if (error) {
      setError("You could not be signed out. Check your connection and try again.");
      setLeaving(false);
      return;
    }
    api.forgetToken();
    queryClient.clear();
    router.replace("/sign-in");
  }

  return (
    <QueryClientProvider client={queryClient}>
      <ApiContext value={api}>
        <header className="bar">
          <Brand />
          <span className="user" title={user.email}>
            {user.name.trim() || user.email}
          </span>
          <button type="button" onClick={signOut} aria-disabled={isLeaving}>
            {isLeaving ? "Signing out…" : "Sign out"}
          </button>
        </header>
        {!isLeaving && <SessionGuard userId={user.id} />}
        <main className="page">
          <p role="alert" className="alert" hidden={!error}>
            {error}
          </p>
          <TaskList />
        </main>
      </ApiContext>
    </QueryClientProvider>
  );
}

/** Another tab may sign out, or somebody else in: the server knows which page comes next. */
function SessionGuard({ userId }: { userId: string }) {
  const router = useRouter();
  const { data, isPending, error } = authClient.useSession();
  const isOver = !isPending && !error && data?.user.id !== userId;
  useEffect(() => {
    if (isOver) router.refresh();
  }, [isOver, router]);
  return null;
}
