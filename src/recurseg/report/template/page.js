"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);

  for (const article of document.querySelectorAll("article.case")) {
    const sections = data.cases[Number(article.dataset.case)];
    const slider = article.querySelector("input[type=range]");
    const bars = article.querySelectorAll(".bars i");
    const show = () => {
      const index = slider ? Number(slider.value) : 0;
      const section = sections[index];
      const chosen = article.querySelector(".modalities input:checked");
      const modality = chosen ? chosen.value : Object.keys(section.images)[0];
      for (const image of article.querySelectorAll("img.base")) image.src = section.images[modality];
      for (const layer of ["reference", "prediction", "errors"])
        for (const image of article.querySelectorAll("img." + layer)) image.src = section[layer];
      article.querySelector(".name").textContent = section.name;
      article.querySelector(".wrong").textContent = section.told;
      if (slider) slider.setAttribute("aria-valuetext", `${section.name}, ${section.told}`);
      bars.forEach((bar, place) => bar.classList.toggle("now", place === index));
    };
    if (slider) slider.addEventListener("input", show);
    for (const radio of article.querySelectorAll(".modalities input")) radio.addEventListener("change", show);
    for (const box of article.querySelectorAll("[data-layer]"))
      box.addEventListener("change", () => {
        for (const image of article.querySelectorAll("img." + box.dataset.layer)) image.classList.toggle("off", !box.checked);
      });
  }

  const table = document.getElementById("cases");
  if (table) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    const filter = document.getElementById("class-filter");
    const number = (cell) => (cell.dataset.value ? Number(cell.dataset.value) : NaN);
    const words = new Intl.Collator(undefined, { numeric: true });
    const markBest = () => {
      const comparable = !filter || filter.value;
      const shown = [...body.rows].filter((row) => !row.hidden);
      headings.forEach((heading, column) => {
        if (!("better" in heading.dataset)) return;
        const values = shown.map((row) => number(row.cells[column])).filter((value) => !Number.isNaN(value));
        const best = heading.dataset.better === "lower" ? Math.min(...values) : Math.max(...values);
        const several = comparable && new Set(values).size > 1;
        for (const row of shown) row.cells[column].classList.toggle("top", several && number(row.cells[column]) === best);
      });
    };
    const narrow = () => {
      for (const row of body.rows) row.hidden = Boolean(filter && filter.value && row.dataset.class !== filter.value);
      markBest();
    };
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const column = Number(button.dataset.column);
      const up = headings[column].getAttribute("aria-sort") !== "ascending";
      headings.forEach((heading) => heading.setAttribute("aria-sort", "none"));
      headings[column].setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1;
      const order = [...body.rows].sort((one, other) => {
        const a = one.cells[column], b = other.cells[column];
        if (!("value" in a.dataset)) return sign * words.compare(a.textContent, b.textContent);
        const x = number(a), y = number(b);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return sign * (x - y);
      });
      body.append(...order);
    });
    if (filter) filter.addEventListener("change", narrow);
    narrow();
  }

  for (const svg of document.querySelectorAll("svg[data-chart]")) {
    const points = data.hover[Number(svg.dataset.chart)];
    const cross = svg.querySelector(".cross");
    const readout = svg.closest("figure").querySelector(".readout");
    const leave = () => { cross.setAttribute("hidden", ""); readout.textContent = "\u00a0"; };
    leave();
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      let near = points[0];
      for (const point of points) if (Math.abs(point[0] - x) < Math.abs(near[0] - x)) near = point;
      cross.removeAttribute("hidden");
      cross.firstElementChild.setAttribute("x1", near[0]);
      cross.firstElementChild.setAttribute("x2", near[0]);
      cross.lastElementChild.setAttribute("cx", near[0]);
      cross.lastElementChild.setAttribute("cy", near[1]);
      readout.textContent = near[2];
    });
  }

  if (navigator.clipboard)
    for (const block of document.querySelectorAll(".command")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "copy";
      button.addEventListener("click", () =>
        navigator.clipboard.writeText(block.querySelector("code").textContent).then(() => {
          button.textContent = "copied";
          setTimeout(() => (button.textContent = "copy"), 1500);
        }));
      block.append(button);
    }

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) details.open = details.dataset.printed = true;
  });
  addEventListener("afterprint", () => {
    for (const details of document.querySelectorAll("details[data-printed]")) details.open = false;
  });
})();
