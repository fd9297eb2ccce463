// Numbers as people read them. Unknown ones are a dash.

export const DASH = "–";
const known = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  if (!known(value)) return DASH;
  return new Intl.NumberFormat("en", { notation: value >= 1e5 ? "compact" : "standard", maximumFractionDigits: 1 }).format(value);
}

export const percent = (value, digits = 0) => (known(value) ? `${(100 * value).toFixed(digits)}%` : DASH);

export function usd(value) {
  if (!known(value)) return DASH;
  if (value === 0) return "$0";
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (size >= 0.995) return sign + new Intl.NumberFormat("en", { style: "currency", currency: "USD" }).format(size);
  const digits = Math.min(12, 1 - Math.floor(Math.log10(size)));
  return `${sign}$${size.toFixed(digits)}`;
}

// One answer often costs a tiny part of a cent; a thousand of them is a number to compare.
export const perThousand = (value) => (known(value) ? usd(1000 * value) : DASH);

export function seconds(value) {
  if (!known(value)) return DASH;
  if (value < 0.0995) return `${(1000 * value).toFixed(value < 0.00995 ? 1 : 0)} ms`;
  return value < 99.5 ? `${value.toFixed(value < 9.95 ? 2 : 1)} s` : `${Math.round(value / 60)} min`;
}

export function clock(unixSeconds, long = false) {
  const options = long ? { dateStyle: "medium", timeStyle: "medium" } : { hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat("en-GB", options).format(new Date(1000 * unixSeconds));
}

export function ago(unixSeconds, nowSeconds) {
  const passed = Math.max(0, nowSeconds - unixSeconds);
  if (passed < 60) return `${Math.round(passed)} s ago`;
  if (passed < 3600) return `${Math.round(passed / 60)} min ago`;
  return passed < 86400 ? `${Math.round(passed / 3600)} h ago` : `${Math.round(passed / 86400)} d ago`;
}

export const WINDOWS = [["15 min", 900], ["1 h", 3600], ["24 h", 86400], ["7 d", 604800], ["30 d", 2592000]];

export const lengthName = (length) => (WINDOWS.find(([, value]) => value === length) ?? ["this time"])[0];
