import { type InputHTMLAttributes, useId } from "react";

type Props = InputHTMLAttributes<HTMLInputElement> & { label: string; hint?: string; error?: string; rows?: number };

/** A control with its label, and with what is wrong with it. With `rows` it takes several lines. */
export function Field({ label, hint, error, ...attributes }: Props) {
  const id = useId();
  // Of what is used here, a textarea takes the same attributes.
  const Control = (attributes.rows ? "textarea" : "input") as "input";
  return (
    <div className="field">
      <label htmlFor={id}>
        {label} {hint && <span className="muted">{hint}</span>}
      </label>
      <Control
        {...attributes}
        id={id}
        aria-invalid={error ? true : undefined}
        aria-describedby={error ? `${id}-error` : undefined}
      />
      {error && (
        <p className="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}
