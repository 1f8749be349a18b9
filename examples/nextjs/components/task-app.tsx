"use client";

import { PersistQueryClientProvider } from "@tanstack/react-query-persist-client";
import { useEffect, useRef, useState } from "react";
import { createApi } from "@/lib/api";
import { authClient } from "@/lib/auth-client";
import { createKeeper, dehydrateOptions, forgetEverybody, forgetPerson, onLeave } from "@/lib/keeper";
import { keepPage } from "@/lib/page-cache";
import { isOpenIn } from "@/lib/queue";
import { createQueryClient, type Tools, ToolsContext } from "@/lib/tasks";
import { Brand } from "./brand";
import { ConfirmDialog } from "./confirm-dialog";
import { TaskList } from "./task-list";

const SIGN_OUT_TIMEOUT_MS = 15_000;

type Props = { apiUrl: string; user: { id: string; name: string; email: string } };

/** Token and tasks live as long as this component, which belongs to one person, and ends with the page. */
export function TaskApp({ apiUrl, user }: Props) {
  const [isKept, setKept] = useState(true);
  const [tools] = useState<Tools>(() => ({
    api: createApi(apiUrl, user.id),
    keeper: createKeeper(user.id, setKept),
    watched: new Set(),
  }));
  const [queryClient] = useState(() => createQueryClient(tools, () => void leave("/", () => forgetPerson(user.id))));
  const [persistOptions] = useState({ persister: tools.keeper.persister, dehydrateOptions, maxAge: Infinity });
  const [isLeaving, setLeaving] = useState(false);
  const [error, setError] = useState("");
  const question = useRef<HTMLDialogElement>(null);

  /** A new page, so that nothing of this one goes on; the server knows which one comes next. */
  async function leave(path: string, forget?: () => Promise<unknown>) {
    try {
      await tools.keeper.stop();
      await forget?.();
    } finally {
      window.location.replace(path);
    }
  }

  async function askToSignOut() {
    const isOpen = isOpenIn(queryClient) || (await tools.keeper.isOpenElsewhere().catch(() => false));
    if (isOpen) question.current?.showModal();
    else await signOut();
  }

  async function signOut() {
    if (isLeaving) return;
    setLeaving(true);
    setError("");
    const { data } = await authClient
      .signOut({ fetchOptions: { timeout: SIGN_OUT_TIMEOUT_MS } })
      .catch(() => ({ data: null }));
    if (data?.success) return leave("/sign-in", forgetEverybody);
    setError("You could not be signed out. Check your connection and try again.");
    setLeaving(false);
  }

  useEffect(() => {
    // In development it would go on to serve whatever is next on this port.
    if (process.env.NODE_ENV === "production") void navigator.serviceWorker?.register("/serwist/sw.js", { scope: "/" });
    void keepPage(user.id);
    return onLeave(user.id, () => void tools.keeper.stop().then(() => window.location.replace("/")));
  }, [tools, user.id]);

  return (
    <PersistQueryClientProvider
      client={queryClient}
      persistOptions={persistOptions}
      // Not awaited: what was kept is shown before it is sent.
      onSuccess={() => {
        void queryClient.resumePausedMutations();
        void tools.keeper.followTabs(queryClient);
      }}
    >
      <ToolsContext value={tools}>
        <header className="bar">
          <Brand />
          <span className="user" title={user.email}>
            {user.name.trim() || user.email}
          </span>
          <button type="button" onClick={askToSignOut} aria-disabled={isLeaving}>
            {isLeaving ? "Signing out…" : "Sign out"}
          </button>
        </header>
        <ConfirmDialog
          ref={question}
          question="Sign out, and lose what is waiting?"
          text="Some of your changes have not reached the server. They would be lost."
          no="Stay"
          yes="Sign out and lose them"
          onYes={signOut}
        />
        {!isLeaving && (
          <SessionGuard
            userId={user.id}
            // Without a session, the same person may come back to what waits.
            onOver={(other) => void leave("/", other ? () => forgetPerson(user.id) : undefined)}
          />
        )}
        <main className="page">
          <p role="alert" className="alert" hidden={!error}>
            {error}
          </p>
          <TaskList isKept={isKept} />
        </main>
      </ToolsContext>
    </PersistQueryClientProvider>
  );
}

/** Another tab may sign out, or somebody else in. */
function SessionGuard({ userId, onOver }: { userId: string; onOver: (other: string | undefined) => void }) {
  const { data, isPending, error } = authClient.useSession();
  // Neither a session nor none is the page of a network that somebody has to log in to first.
  const other = data?.user?.id;
  const isOver = !isPending && !error && (data === null || other !== undefined) && other !== userId;
  const latest = useRef(onOver);
  useEffect(() => {
    latest.current = onOver;
  });
  useEffect(() => {
    if (isOver) latest.current(other);
  }, [isOver, other]);
  return null;
}
