"use client";

/** When a page could not be made, for example because Better Auth's database is away. */
export default function ErrorPage() {
  return (
    <main className="card narrow">
      <h1>Something went wrong</h1>
      <p className="muted">The page could not be made. It has been logged.</p>
      <button type="button" className="primary" onClick={() => window.location.reload()}>
        Try again
      </button>
    </main>
  );
}
