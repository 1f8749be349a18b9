import { useId, useSyncExternalStore } from "react";
import type { Filter } from "@/lib/tasks";

const STATUSES = { all: "All", pending: "Pending", completed: "Completed" } as const;
const SORTS = { created: "Newest first", title: "Title", due_date: "Due date" } as const;

const keysOf = <K extends string>(names: Record<K, string>) => Object.keys(names) as K[];

const CHANGED = "filter-changed";

function subscribe(onChange: () => void) {
  window.addEventListener(CHANGED, onChange);
  return () => window.removeEventListener(CHANGED, onChange);
}

/**
 * In the address, so that a reload keeps it and a link can carry it. What the API does not know is left out. The page is
 * made without it, because the service worker has one page for every filter.
 */
export function useFilter() {
  const params = new URLSearchParams(useSyncExternalStore(subscribe, () => window.location.search, () => ""));
  const filter: Filter = {
    status: keysOf(STATUSES).find((status) => status === params.get("status")) ?? "all",
    sort: keysOf(SORTS).find((sort) => sort === params.get("sort")) ?? "created",
  };

  function change(next: Filter) {
    // Not by way of the router, which would ask the server for the page again.
    window.history.replaceState(null, "", `?${new URLSearchParams(next)}`);
    window.dispatchEvent(new Event(CHANGED));
  }

  return [filter, change] as const;
}

export function Toolbar({ filter, onChange }: { filter: Filter; onChange: (filter: Filter) => void }) {
  const id = useId();
  return (
    <div className="toolbar">
      <fieldset className="segments">
        <legend className="hidden">Show</legend>
        {keysOf(STATUSES).map((status) => (
          <label key={status}>
            <input
              type="radio"
              name={`${id}-status`}
              checked={filter.status === status}
              onChange={() => onChange({ ...filter, status })}
            />
            {STATUSES[status]}
          </label>
        ))}
      </fieldset>
      <div className="sort">
        <label htmlFor={`${id}-sort`}>Sort by</label>
        <select
          id={`${id}-sort`}
          value={filter.sort}
          onChange={({ target }) => onChange({ ...filter, sort: target.value as Filter["sort"] })}
        >
          {keysOf(SORTS).map((sort) => (
            <option key={sort} value={sort}>
              {SORTS[sort]}
            </option>
          ))}
        </select>
      </div>
    </div>
  );
}
