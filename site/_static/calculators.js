// The forms of calculators.md: each kind's function takes what was entered, and constants; it returns a sentence.
const number = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
const CALCULATORS = {
  footprint({ weights, tokens, processor, share, pue, country }, { processors, countries }) {
    const [peak, watts] = processors[processor];
    const hours = (6 * weights * 1e9 * tokens * 1e9) / (peak * share) / 3600;
    const kwh = (hours * watts * pue) / 1000;
    return `${number(kwh / 1000)} MWh, ${number(hours)} hours of one ${processor}, ` +
      `${number((kwh * countries[country]) / 1e6)} t CO2e`;
  },
  cache({ layers, heads, size, tokens, texts, bytes }) {
    return `${number((2 * layers * heads * size * tokens * texts * bytes) / 1e6)} MB`;
  },
  settings({ model, gap }, { rows }) {
    const allowed = rows.filter(([name, , , , gapMs]) => name === model && gapMs <= gap);
    if (!allowed.length) return "No setting is that fast.";
    const [, gpu, gpus, batch, gapMs, joules] = allowed.reduce((a, b) => (b[5] < a[5] ? b : a));
    return `${number(joules)} J a token: ${gpus} ${gpu}, batches of ${number(batch)}, ${number(gapMs)} ms a token`;
  },
};
document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form.calculator")) {
    const constants = JSON.parse(form.dataset.constants);
    const show = () => {
      const given = Object.fromEntries([...form.elements].filter((each) => each.name).map((each) =>
        [each.name, each.type === "number" ? each.valueAsNumber : each.value]));
      const wrong = Object.values(given).some((value) => Number.isNaN(value) || value < 0);
      form.querySelector("output").textContent =
        wrong ? "Enter a number, 0 or more, in each field." : CALCULATORS[form.dataset.kind](given, constants);
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  }
});
