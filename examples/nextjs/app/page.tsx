import { redirect } from "next/navigation";
import { TaskApp } from "@/components/task-app";
import { environment } from "@/lib/environment";
import { getUser } from "@/lib/session";

export default async function Page() {
  const user = await getUser();
  if (!user) redirect("/sign-in");
  const { id, name, email } = user;
  // The key lets nothing of one person stay on the page for another.
  return <TaskApp key={id} apiUrl={environment.apiUrl} user={{ id, name, email }} />;
}
