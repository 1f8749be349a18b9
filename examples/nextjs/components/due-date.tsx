// A calendar date has no time zone; read as UTC and written as UTC it is the same day everywhere.
const format = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });

/** Today where the person is, as the API writes dates. */
function today() {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

export function DueDate({ date, isDone }: { date: string; isDone: boolean }) {
  const isOverdue = !isDone && date < today();
  const day = format.format(new Date(date));
  const label = date === today() ? "Due today" : isOverdue ? `Overdue since ${day}` : `Due ${day}`;
  return (
    <p className={isOverdue ? "due overdue" : "due"}>
      <time dateTime={date}>{label}</time>
    </p>
  );
}
