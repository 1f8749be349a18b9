// The task API on Fastify 5 and node-postgres, with the plugins and the response schemas that its documentation teaches.
import cors from "@fastify/cors";
import jwt from "@fastify/jwt";
import Fastify from "fastify";
import pg from "pg";

const { BETTER_AUTH_SECRET, BETTER_AUTH_URL = "http://localhost:3000", DATABASE_URL, POOL_SIZE = "16", PORT } = process.env;

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

const id = { type: "integer" };
const title = { type: "string", maxLength: 200, pattern: "\\S" };
const description = { type: ["string", "null"], maxLength: 1000 };
const completed = { type: "boolean" };
const due_date = { type: ["string", "null"], format: "date" };
const text = { type: "string" };

const params = { type: "object", properties: { id: { type: "string", pattern: "^[0-9]{1,18}$" } } };
const querystring = {
  type: "object",
  properties: {
    status: { type: "string", enum: Object.keys(STATUS), default: "all" },
    sort: { type: "string", enum: Object.keys(SORT), default: "created" },
  },
};
const taskUpdate = { type: "object", properties: { title, description, completed, due_date } };
const taskCreate = { ...taskUpdate, required: ["title"] };
const task = {
  type: "object",
  properties: {
    id,
    title: text,
    description: { type: ["string", "null"] },
    completed,
    due_date: { type: ["string", "null"] },
    created_at: text,
    updated_at: text,
  },
};

async function sendTask(reply, sql, values) {
  const { rows } = await query(sql, values);
  if (rows.length === 0) return reply.code(404).send({ detail: "There is no such task." });
  return rows[0];
}

async function taskRoutes(app) {
  const knownUsers = new Set();

  app.addHook("onRequest", async (request) => {
    await request.jwtVerify();
    const { sub } = request.user;
    if (!knownUsers.has(sub)) {
      await query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [sub]);
      knownUsers.add(sub);
    }
  });

  app.get("/tasks", { schema: { querystring, response: { 200: { type: "array", items: task } } } }, async (request) => {
    const { status, sort } = request.query;
    const sql = `SELECT ${COLUMNS} FROM tasks WHERE user_id = $1 ${STATUS[status]} ORDER BY ${SORT[sort]}`;
    const { rows } = await query(sql, [request.user.sub]);
    return rows;
  });

  app.post("/tasks", { schema: { body: taskCreate, response: { 201: task } } }, async (request, reply) => {
    const { title, description, completed = false, due_date } = request.body;
    const sql = `INSERT INTO tasks (user_id, title, description, completed, due_date, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, now(), now()) RETURNING ${COLUMNS}`;
    reply.code(201);
    return sendTask(reply, sql, [request.user.sub, title.trim(), description, completed, due_date]);
  });

  const getTask = (request, reply) => {
    const sql = `SELECT ${COLUMNS} FROM tasks WHERE id = $2 AND user_id = $1`;
    return sendTask(reply, sql, [request.user.sub, request.params.id]);
  };

  app.get("/tasks/:id", { schema: { params, response: { 200: task } } }, getTask);

  app.put("/tasks/:id", { schema: { params, body: taskUpdate, response: { 200: task } } }, async (request, reply) => {
    const changes = Object.entries(request.body).filter(([name]) => name in taskUpdate.properties);
    if (changes.length === 0) return getTask(request, reply);
    const assignments = changes.map(([name], index) => `${name} = $${index + 3}`);
    const sql = `UPDATE tasks SET ${assignments.join(", ")}, updated_at = now()
                 WHERE id = $2 AND user_id = $1 RETURNING ${COLUMNS}`;
    const values = changes.map(([name, value]) => (name === "title" ? value.trim() : value));
    return sendTask(reply, sql, [request.user.sub, request.params.id, ...values]);
  });

  app.patch("/tasks/:id/complete", { schema: { params, response: { 200: task } } }, async (request, reply) => {
    const sql = `UPDATE tasks SET completed = NOT completed, updated_at = now()
                 WHERE id = $2 AND user_id = $1 RETURNING ${COLUMNS}`;
    return sendTask(reply, sql, [request.user.sub, request.params.id]);
  });

  app.delete("/tasks/:id", { schema: { params } }, async (request, reply) => {
    const sql = "DELETE FROM tasks WHERE id = $2 AND user_id = $1";
    const { rowCount } = await query(sql, [request.user.sub, request.params.id]);
    return rowCount === 0 ? reply.code(404).send({ detail: "There is no such task." }) : reply.code(204).send();
  });
}

const app = Fastify();
const parseJson = app.getDefaultJsonParser("error", "error");
// Frontends that name JSON as the type of every request send no body with a toggle.
app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) =>
  body === "" ? done(null) : parseJson(request, body, done),
);
app.setErrorHandler((error, request, reply) => {
  // @fastify/jwt lets the error of an unexpected algorithm through without a status.
  const unauthorized = error.code?.startsWith("FAST_JWT_");
  const status = unauthorized ? 401 : error.validationContext === "params" ? 404 : (error.statusCode ?? 500);
  if (status === 500) console.error(error);
  if (status === 401) reply.header("WWW-Authenticate", "Bearer");
  return reply.code(status).send({ detail: status === 404 ? "There is no such task." : error.message });
});
app.register(cors, { origin: BETTER_AUTH_URL, credentials: true, methods: ["GET", "POST", "PUT", "PATCH", "DELETE"] });
app.register(jwt, {
  secret: BETTER_AUTH_SECRET,
  verify: { algorithms: ["HS256"], requiredClaims: ["exp", "sub"], cache: true },
});
app.get("/health", { schema: { response: { 200: { type: "object", properties: { status: text } } } } }, async () => ({
  status: "ok",
}));
app.register(taskRoutes, { prefix: "/api" });
await app.listen({ host: "127.0.0.1", port: Number(PORT) });
