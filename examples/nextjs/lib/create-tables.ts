import { getMigrations } from "better-auth/db/migration";
import { createOptions } from "./auth";

/** Creates the tables of Better Auth that are missing, so that no command has to be run before the first start. */
export async function createTables() {
  try {
    const { runMigrations } = await getMigrations(createOptions());
    await runMigrations();
  } catch (error) {
    // Next.js would go on, and answer every request with an error.
    console.error(`The app cannot start. ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
