import { useMutationState } from "@tanstack/react-query";
import { messageOf, useIsOnline, useWaiting } from "@/lib/tasks";
import { CHANGE } from "@/lib/queue";

type Props = { error: Error | null; isKept: boolean };

/** Whether the API is away, how many changes wait for it, and why. `error` is that of the last look for changes. */
export function OfflineLine({ error, isKept }: Props) {
  const isOnline = useIsOnline();
  const count = useWaiting().length;
  const [failure] = useMutationState({
    filters: { mutationKey: CHANGE, status: "pending" },
    select: ({ state }) => state.failureReason,
  });
  const waiting = count > 0 && `${count} ${count === 1 ? "change" : "changes"} waiting`;
  // One change that is under way for the first time is no news.
  const parts = isOnline ? [(failure || count > 1) && waiting] : ["offline", waiting];
  const text = parts.filter(Boolean).join(", ");
  const reason = error ?? failure;
  return (
    <div className={text ? "offline" : "hidden"}>
      <p role="status">{text}</p>
      {text && reason && <p className="muted">{messageOf(reason)}</p>}
      {text && !isKept && (
        <p className="alert">This device cannot keep changes. What waits is lost when you close or reload this page.</p>
      )}
    </div>
  );
}
