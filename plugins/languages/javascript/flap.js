// The schedule `flap-js`: the fault holds for a share of each period, again and again.
//
// It decides as `flap` does without jitter, so that a plugin in JavaScript can be compared with one in Rust.
// Times are 64-bit nanoseconds: BigInt in JavaScript.

import { write } from "faultd:plugin/log@0.2.0";

const MILLISECOND_NS = 1_000_000n;
const SHORTEST_NS = 10n * MILLISECOND_NS;
const NANOSECONDS_OF = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

// An instance serves one run: what `start` was told is kept here.
let run;

// A text that is thrown is the error that the contract lets `start` answer with.
function start(plan) {
  const { period = "10s", duty = "50%" } = settingsOf(plan.settings, ["period", "duty"]);
  const periodNs = nanoseconds("period", period);
  const share = shareOf("duty", duty);
  if (share === 0 || share === 1) {
    throw "setting duty lies between 0% and 100%: there is no flapping at its ends";
  }
  if (Number(periodNs) * Math.min(share, 1 - share) < Number(SHORTEST_NS)) {
    throw "a part of a period would be shorter than 10ms: make the period longer";
  }
  const beginNs = plan.injectAtNs ?? 0n;
  if (beginNs >= plan.durationNs && plan.rules.length > 0) {
    throw "the fault would begin after the end of the run: inject it earlier";
  }
  if (plan.holdForNs === 0n) {
    throw "the fault would hold for no time at all";
  }
  const endNs = plan.holdForNs === undefined ? plan.durationNs : beginNs + plan.holdForNs;
  run = {
    beginNs,
    endNs: earlier(endNs, plan.durationNs),
    durationNs: plan.durationNs,
    periodNs,
    clearNs: BigInt(Math.round(Number(periodNs) * share)),
    rules: plan.rules,
  };
  write("debug", `periods of ${periodNs} ns, ${run.clearNs} ns of each with the fault`);
  return { seconds: false, counters: false };
}

function decide({ nowNs }) {
  if (run.rules.length === 0 || nowNs >= run.endNs) {
    return hold([], undefined);
  }
  if (nowNs < run.beginNs) {
    return hold([], run.beginNs);
  }
  const periodBeginsNs = nowNs - ((nowNs - run.beginNs) % run.periodNs);
  const clearsNs = periodBeginsNs + run.clearNs;
  return nowNs < clearsNs
    ? hold(run.rules, askAgain(nowNs, clearsNs))
    : hold([], askAgain(nowNs, periodBeginsNs + run.periodNs));
}

function hold(active, askAgainAtNs) {
  return { active, askAgainAtNs, endRun: false, findings: [] };
}

// Not too soon, not after the window, and not at all if the run ends first.
function askAgain(nowNs, changeNs) {
  const askNs = later(earlier(changeNs, run.endNs), nowNs + SHORTEST_NS);
  return askNs < run.durationNs ? askNs : undefined;
}

function settingsOf(pairs, known) {
  const unknown = pairs.find(([name]) => !known.includes(name));
  if (unknown !== undefined) {
    throw `unknown setting ${JSON.stringify(unknown[0])}: known are ${known.join(", ")}`;
  }
  return Object.fromEntries(pairs);
}

function nanoseconds(name, text) {
  const [, number, unit] = /^\s*([0-9.]+)\s*([a-z]+)\s*$/.exec(text) ?? [];
  const ns = Number(number) * NANOSECONDS_OF[unit];
  if (!(ns >= 0 && Number.isSafeInteger(Math.round(ns)))) {
    throw `setting ${name} is a length of time such as 500ms, 1.5s or 2m, not ${JSON.stringify(text)}`;
  }
  return BigInt(Math.round(ns));
}

function shareOf(name, text) {
  const [, number, percent] = /^\s*([0-9.]+)\s*(%?)\s*$/.exec(text) ?? [];
  const share = Number(number) / (percent === "%" ? 100 : 1);
  if (!(share >= 0 && share <= 1)) {
    throw `setting ${name} is a share such as 0.25 or 25%, not ${JSON.stringify(text)}`;
  }
  return share;
}

function earlier(left, right) {
  return left < right ? left : right;
}

function later(left, right) {
  return left > right ? left : right;
}

export const scheduler = { start, decide };
