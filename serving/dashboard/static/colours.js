// A candidate keeps its colour everywhere: the one of its place in the pool.

let names = [];

export function setCandidates(candidates) {
  names = candidates.map((candidate) => candidate.name);
}

export const colour = (name) => {
  const place = names.indexOf(name);
  return place < 0 ? "kx" : `k${place % 8}`;
};

export const named = (name) => names.includes(name);
