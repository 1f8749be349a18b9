export function Brand() {
  return (
    <span className="brand">
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
        <rect width="32" height="32" rx="9" />
        <path d="M9.5 16.5l4.5 4.5 8.5-9.5" />
      </svg>
      Tasks
    </span>
  );
}
