import Link from "next/link";

export default function NotFound() {
  return (
    <main className="card narrow">
      <h1>There is no such page</h1>
      <p className="muted">The address may be mistyped.</p>
      <Link href="/">Go to your tasks</Link>
    </main>
  );
}
