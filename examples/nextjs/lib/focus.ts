/** Whether the focus is in here, or nowhere: then moving it takes it from nothing that somebody does meanwhile. */
export function mayMoveFocus(from: Element | null) {
  const { activeElement, body } = document;
  return !activeElement || activeElement === body || Boolean(from?.contains(activeElement));
}
