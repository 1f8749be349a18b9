import {
  type InfiniteData,
  type QueryClient,
  useInfiniteQuery,
  useMutation,
  useQueryClient,
} from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState } from "react";
import { type Api, ApiError, nextCursor, type Task, type TaskCreate, type TaskQuery, type TaskUpdate } from "./api";

export type Filter = Required<Pick<TaskQuery, "status" | "sort">>;
type Page = { tasks: Task[]; next: string | undefined };

const PAGE_SIZE = 50;
const LONGEST_WAIT_SECONDS = 5;

export const ApiContext = createContext<Api | null>(null);

function useApi() {
  const api = useContext(ApiContext);
  if (!api) throw new Error("useApi must be used inside an ApiContext");
  return api;
}

/** Worth another try by itself: no answer at all, or one that says "soon". For later there is a button. */
export function shouldRetry(failures: number, error: Error) {
  if (failures > 0 || !(error instanceof ApiError)) return false;
  return error.status === 0 || (error.status === 503 && (error.retryAfterSeconds ?? 0) <= LONGEST_WAIT_SECONDS);
}

export const retryDelay = (_: number, error: Error) =>
  1000 * ((error instanceof ApiError && error.retryAfterSeconds) || 1);

/** A sentence for people, whatever was thrown. */
export const messageOf = (error: Error) =>
  error instanceof ApiError ? error.message : "Something unexpected went wrong. Try again.";

export function useTasks(filter: Filter) {
  const api = useApi();
  return useInfiniteQuery({
    queryKey: ["tasks", filter],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }): Promise<Page> => {
      const query = { ...filter, limit: PAGE_SIZE, ...(pageParam && { cursor: pageParam }) };
      const { data = [], response } = await api.GET("/api/tasks", { params: { query }, signal });
      return { tasks: data, next: nextCursor(response) };
    },
    getNextPageParam: (page) => page.next,
    // While another filter loads, its predecessor's tasks stay.
    placeholderData: (previous) => previous,
  });
}

/** A task that has changed its place between two requests is in both pages: the later one knows better. */
export function tasksOf(pages: Page[]) {
  const tasks = pages.flatMap((page) => page.tasks);
  const places = new Map(tasks.map(({ id }, index) => [id, index]));
  return tasks.filter(({ id }, index) => places.get(id) === index);
}

/**
 * One page more. By themselves its request and a refetch would each end the other; so the page is asked for when nothing
 * else is under way, and again when it has not come.
 */
export function useNextPage(query: ReturnType<typeof useTasks>, filter: Filter) {
  const [wanted, setWanted] = useState({ filter, pages: 0 });
  const pages = query.data?.pages.length ?? 0;
  const isLoading =
    wanted.filter === filter && wanted.pages > pages && query.hasNextPage && !query.isFetchNextPageError;

  const fetchNextPage = () => void query.fetchNextPage({ cancelRefetch: false });
  // After every render, because a refetch may begin and end unseen between two of them.
  useEffect(() => {
    if (isLoading && !query.isFetching) fetchNextPage();
  });

  return { isLoading, load: () => setWanted({ filter, pages: pages + 1 }), retry: fetchNextPage };
}

export function useAddTask() {
  const api = useApi();
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: TaskCreate) => api.POST("/api/tasks", { body }),
    onSuccess: () => refresh(client),
  });
}

/**
 * Optimistic in the simplest way: a component shows `variables` while the mutation is pending and the task when it is
 * not, so a refusal needs no rolling back. Changes of one task go out in the order in which they were made.
 */
export function useUpdateTask(id: number) {
  const api = useApi();
  const client = useQueryClient();
  return useMutation({
    scope: { id: `task-${id}` },
    // Not PATCH …/complete without a body: that flips whatever another tab has left, and this says what is meant.
    mutationFn: (body: TaskUpdate) => api.PUT("/api/tasks/{id}", { params: { path: { id } }, body }),
    onSuccess: ({ data }) => {
      if (data) editTasks(client, (tasks) => tasks.map((task) => (task.id === id ? data : task)));
    },
    onSettled: () => refresh(client),
  });
}

/** Optimistic as well: a component hides the task while the mutation is pending. */
export function useDeleteTask(id: number) {
  const api = useApi();
  const client = useQueryClient();
  return useMutation({
    scope: { id: `task-${id}` },
    mutationFn: () => api.DELETE("/api/tasks/{id}", { params: { path: { id } } }),
    onSuccess: () => editTasks(client, (tasks) => tasks.filter((task) => task.id !== id)),
    onSettled: () => refresh(client),
  });
}

/** Not awaited by those who call it: a mutation is over when the API has answered. */
function refresh(client: QueryClient) {
  const filters = { queryKey: ["tasks"] };
  // Cancelled first: the first fetch of a list would be left to end, and may have been answered before the change.
  void client.cancelQueries(filters).then(() => client.invalidateQueries(filters));
}

function editTasks(client: QueryClient, edit: (tasks: Task[]) => Task[]) {
  client.setQueriesData<InfiniteData<Page>>({ queryKey: ["tasks"] }, (data) =>
    data && { ...data, pages: data.pages.map((page) => ({ ...page, tasks: edit(page.tasks) })) },
  );
}
