import { withSerwist } from "@serwist/turbopack";
import type { NextConfig } from "next";

// The Content-Security-Policy is made in proxy.ts: it differs with each request.
const headers = [
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "X-Frame-Options", value: "DENY" },
  { key: "Referrer-Policy", value: "same-origin" },
  { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=()" },
];

const config: NextConfig = {
  poweredByHeader: false,
  reactStrictMode: true,
  // This folder, whatever lock files lie above it.
  turbopack: { root: import.meta.dirname },
  headers: async () => [{ source: "/:path*", headers }],
};

export default withSerwist(config);
