// The task API on Express 5 and node-postgres.
import { createSecretKey } from "node:crypto";
import cors from "cors";
import express from "express";
import jwt from "jsonwebtoken";
import pg from "pg";
import { z } from "zod";

const { BETTER_AUTH_SECRET, BETTER_AUTH_URL = "http://localhost:3000", DATABASE_URL, POOL_SIZE = "16", PORT } = process.env;
const SECRET = createSecretKey(Buffer.from(BETTER_AUTH_SECRET));

// JavaScript's Date has no microseconds: "2026-01-02 03:04:05.6789+00" → "2026-01-02T03:04:05.678900Z".
function timestamp(text) {
  const time = text.slice(11, -3);
  return `${text.slice(0, 10)}T${(time.length === 8 ? time + "." : time).padEnd(15, "0")}Z`;
}

pg.types.setTypeParser(pg.types.builtins.INT8, Number);
pg.types.setTypeParser(pg.types.builtins.DATE, (text) => text);
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, timestamp);
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(POOL_SIZE), options: "-c timezone=utc" });
const names = new Map();

// Named, so that PostgreSQL parses and plans a statement once per connection.
function query(text, values) {
  if (!names.has(text)) names.set(text, `statement_${names.size}`);
  return pool.query({ name: names.get(text), text, values });
}

const COLUMNS = "id, title, description, completed, due_date, created_at, updated_at";
const STATUS = { all: "", pending: "AND NOT completed", completed: "AND completed" };
const SORT = {
  created: "created_at DESC, id DESC",
  title: 'lower(title) COLLATE "C", id',
  due_date: "due_date NULLS LAST, id",
};

const TaskUpdate = z.object({
  title: z.string().trim().min(1).max(200).optional(),
  description: z.string().max(1000).nullish(),
  completed: z.boolean().optional(),
  due_date: z.iso.date().nullish(),
});
const TaskCreate = TaskUpdate.required({ title: true });
const TaskQuery = z.object({
  status: z.enum(["all", "pending", "completed"]).default("all"),
  sort: z.enum(["created", "title", "due_date"]).default("created"),
});

const knownUsers = new Set();

async function authenticate(req, res, next) {
  const [scheme, token] = (req.headers.authorization ?? "").split(" ");
  let claims;
  try {
    claims = scheme.toLowerCase() === "bearer" && jwt.verify(token, SECRET, { algorithms: ["HS256"] });
  } catch {
    claims = null;
  }
  if (!claims?.sub || !claims.exp) {
    return res.status(401).set("WWW-Authenticate", "Bearer").json({ detail: "Could not validate credentials" });
  }
  req.userId = claims.sub;
  if (!knownUsers.has(req.userId)) {
    await query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [req.userId]);
    knownUsers.add(req.userId);
  }
  next();
}

async function sendTask(res, sql, values, status = 200) {
  const { rows } = await query(sql, values);
  if (rows.length === 0) return res.status(404).json({ detail: "There is no such task." });
  res.status(status).json(rows[0]);
}

const tasks = express.Router();

tasks.param("id", (req, res, next, id) => {
  if (!/^\d{1,18}$/.test(id)) return res.status(404).json({ detail: "There is no such task." });
  next();
});

tasks.get("/", async (req, res) => {
  const { status, sort } = TaskQuery.parse(req.query);
  const sql = `SELECT ${COLUMNS} FROM tasks WHERE user_id = $1 ${STATUS[status]} ORDER BY ${SORT[sort]}`;
  const { rows } = await query(sql, [req.userId]);
  res.json(rows);
});

tasks.post("/", async (req, res) => {
  const { title, description, completed = false, due_date } = TaskCreate.parse(req.body);
  const sql = `INSERT INTO tasks (user_id, title, description, completed, due_date, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, now(), now()) RETURNING ${COLUMNS}`;
  await sendTask(res, sql, [req.userId, title, description, completed, due_date], 201);
});

const getTask = (req, res) =>
  sendTask(res, `SELECT ${COLUMNS} FROM tasks WHERE id = $2 AND user_id = $1`, [req.userId, req.params.id]);

tasks.get("/:id", getTask);

tasks.put("/:id", async (req, res) => {
  const changes = Object.entries(TaskUpdate.parse(req.body)).filter(([, value]) => value !== undefined);
  if (changes.length === 0) return getTask(req, res);
  const assignments = changes.map(([name], index) => `${name} = $${index + 3}`);
  const sql = `UPDATE tasks SET ${assignments.join(", ")}, updated_at = now()
               WHERE id = $2 AND user_id = $1 RETURNING ${COLUMNS}`;
  await sendTask(res, sql, [req.userId, req.params.id, ...changes.map(([, value]) => value)]);
});

tasks.patch("/:id/complete", async (req, res) => {
  const sql = `UPDATE tasks SET completed = NOT completed, updated_at = now()
               WHERE id = $2 AND user_id = $1 RETURNING ${COLUMNS}`;
  await sendTask(res, sql, [req.userId, req.params.id]);
});

tasks.delete("/:id", async (req, res) => {
  const sql = "DELETE FROM tasks WHERE id = $2 AND user_id = $1";
  const { rowCount } = await query(sql, [req.userId, req.params.id]);
  if (rowCount === 0) return res.status(404).json({ detail: "There is no such task." });
  res.status(204).end();
});

const app = express();
app.disable("x-powered-by");
app.disable("etag"); // a hash per answer, which none of the others makes
app.use(cors({ origin: BETTER_AUTH_URL, credentials: true }));
app.get("/health", (req, res) => res.json({ status: "ok" }));
app.use("/api", authenticate);
app.use("/api/tasks", express.json(), tasks);
app.use((req, res) => res.status(404).json({ detail: "Not Found" }));
app.use((error, req, res, next) => {
  const status = error instanceof z.ZodError ? 400 : (error.status ?? 500);
  if (status === 500) console.error(error);
  res.status(status).json({ detail: status === 500 ? "Internal Server Error" : error.message });
});
app.listen(Number(PORT), "127.0.0.1");
