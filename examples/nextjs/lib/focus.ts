/** Whether the focus is in here, or nowhere: then moving it takes it from nothing that somebody does meanwhile. */
export function mayMoveFocus(from: Element | null) {
  const { activeElement, body } = document;
  return !activeElement || activeElement === body || Boolean(from?.contains(activeElement));
}

/** A ref. Stable, because React calls it again for a new function. The cleanup runs just before the element is removed. */
export const handOnFocus = (element: HTMLElement | null) => () => {
  if (element?.contains(document.activeElement)) document.getElementById("tasks")?.focus();
};
