import type { MetadataRoute } from "next";

export default function manifest(): MetadataRoute.Manifest {
  return {
    name: "Tasks",
    id: "/",
    start_url: "/",
    display: "standalone",
    background_color: "#f6f5f2",
    theme_color: "#1f6b57",
    icons: [{ src: "/icon.svg", type: "image/svg+xml", sizes: "any", purpose: "any" }],
  };
}
