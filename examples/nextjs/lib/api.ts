/**
 * The Todo API for the browser: typed by its OpenAPI document, signed in by Better Auth.
 *
 *     const api = createApi("http://localhost:8000", user.id);
 *     const { data } = await api.GET("/api/tasks", { params: { query: { status: "pending" } } });
 *
 * What goes wrong is thrown as an `ApiError`. The types in api-schema.d.ts are written by `npm run types`.
 */
import { decodeJwt } from "jose";
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./api-schema";

export type Task = components["schemas"]["Task"];
export type TaskCreate = components["schemas"]["TaskCreate"];
export type TaskUpdate = components["schemas"]["TaskUpdate"];
export type TaskQuery = NonNullable<operations["list_tasks"]["parameters"]["query"]>;
export type Api = ReturnType<typeof createApi>;

const TOKEN_URL = "/api/auth/token";
const RENEW_BEFORE_SECONDS = 60;
const TIMEOUT_MS = 15_000;

/** `message` is a sentence for people; `status` is 0 when no answer of ours came; `task` is in a 412, as it is now. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly fields: Record<string, string> = {},
    readonly retryAfterSeconds?: number,
    readonly task?: Task,
  ) {
    super(message);
    this.name = "ApiError";
  }

  static async from(response: Response) {
    // A proxy on the way may answer with something that is not ours, or not even JSON.
    const body = (await response.json().catch(() => null)) as Partial<components["schemas"]["Error"]> | null;
    return new ApiError(
      body?.detail ?? `The server answered with an error (${response.status}). Try again later.`,
      // That of a proxy says nothing about the task.
      response.status === 404 && !body?.detail ? 502 : response.status,
      Object.fromEntries((body?.errors ?? []).map(({ field, message }) => [field, message])),
      Number(response.headers.get("Retry-After")) || undefined,
      body?.task,
    );
  }
}

/** Somebody else is signed in than the page was made for. */
export class SomebodyElseError extends ApiError {}

/** `userId` is the person the page was made for: a token of anybody else is never used. */
export function createApi(baseUrl: string, userId: string) {
  const tokens = keepToken(userId);

  async function send(request: Request) {
    const token = await tokens.get();
    let response = await reach(authorize(request, token));
    // Refused before its time, when keys or secrets have changed: once more with a fresh one.
    if (response.status === 401) response = await reach(authorize(request, await tokens.get(token)));
    if (!response.ok) throw await ApiError.from(response);
    return response;
  }

  return { ...createClient<paths>({ baseUrl, fetch: send }), forgetToken: tokens.forget };
}

type Token = { value: string; renewAt: number };

/** One token, in memory only: other scripts find none in storage, and it is gone with the page. */
function keepToken(userId: string) {
  // The promise is kept, and not what it gives, so that calls made at once share one request.
  let held: Promise<Token> | undefined;

  async function get(rejected?: string) {
    const before = held;
    const token = await before;
    if (token && token.value !== rejected && Date.now() < token.renewAt) return token.value;
    if (held === before) held = undefined;
    held ??= fetchToken(userId).catch((error: unknown) => {
      held = undefined;
      throw error;
    });
    return (await held).value;
  }

  return { get, forget: () => void (held = undefined) };
}

async function fetchToken(userId: string): Promise<Token> {
  const response = await reach(new Request(TOKEN_URL, { cache: "no-store" }));
  if (response.status === 401) throw new ApiError("Your session has ended. Please sign in again.", 401);
  if (!response.ok) throw await ApiError.from(response);
  const { token } = (await response.json()) as { token: string };
  const { sub, exp = 0, iat = Date.now() / 1000 } = decodeJwt(token);
  if (sub !== userId) throw new SomebodyElseError("Somebody else has signed in here. Please sign in again.", 401);
  // Its span, not its hour: the clock of this computer may be wrong.
  return { value: token, renewAt: Date.now() + (exp - iat - RENEW_BEFORE_SECONDS) * 1000 };
}

/** A copy, because the body of a request can be sent only once. */
function authorize(request: Request, token: string) {
  const copy = request.clone();
  copy.headers.set("Authorization", `Bearer ${token}`);
  return copy;
}

async function reach(request: Request) {
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const response = await fetch(request, { signal }).catch((error: unknown) => {
    if (request.signal.aborted) throw error;
  });
  // Nothing of ours is a page; a hotel's network answers with one to everything, until somebody has logged in there.
  const type = response?.headers.get("Content-Type") ?? "";
  const isOurs = !response?.ok || response.status === 204 || /json|csv/.test(type);
  if (response && isOurs) return response;
  throw new ApiError("The server cannot be reached. Check your connection and try again.");
}
