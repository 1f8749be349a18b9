import { createSerwistRoute } from "@serwist/turbopack";

/** /serwist/sw.js, made from app/sw.ts by a build, with a list of the build's scripts and styles. */
export const { dynamic, dynamicParams, revalidate, generateStaticParams, GET } = createSerwistRoute({
  swSrc: "app/sw.ts",
  useNativeEsbuild: true,
  esbuildOptions: { sourcemap: false },
});
