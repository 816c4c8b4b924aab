// splitWords cuts a line into arguments: spaces part them, quotes and
// backslashes keep them together as in a shell, and nothing is expanded.
// Undefined for a quote that is not closed.
export function splitWords(line: string): string[] | undefined {
  const out: string[] = [];
  let word = "";
  let inside = false;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (quote) {
      if (c === quote) quote = "";
      else if (c === "\\" && quote === '"' && /["\\]/.test(line[i + 1] ?? "")) word += line[++i];
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      inside = true;
    } else if (/\s/.test(c)) {
      if (inside) out.push(word);
      word = "";
      inside = false;
    } else {
      word += c === "\\" && i + 1 < line.length ? line[++i] : c;
      inside = true;
    }
  }
  if (quote) return undefined;
  if (inside) out.push(word);
  return out;
}
