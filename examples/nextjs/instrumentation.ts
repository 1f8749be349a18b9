/** Runs once, before the server answers. */
export async function register() {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  const { createTables } = await import("./lib/create-tables");
  await createTables();
}
