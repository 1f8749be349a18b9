// Turns TypeScript files into modules that Node.js can import: node transpile.mjs FILE.ts ...
import { readFileSync, writeFileSync } from "node:fs";
import ts from "typescript";

for (const file of process.argv.slice(2)) {
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(readFileSync(file, "utf8"), { compilerOptions });
  writeFileSync(file.replace(/\.ts$/, ".mjs"), outputText.replaceAll(/"@\/lib\/(\w+)"/g, '"./$1.mjs"'));
}
