"use strict";
(() => {
  const parts = JSON.parse(document.getElementById("page-data").textContent);
  for (const article of document.querySelectorAll("article[data-part]")) {
    const slider = article.querySelector("input[type=range]");
    if (!slider) continue;
    const part = parts[Number(article.dataset.part)];
    const views = [...article.querySelectorAll(".view")];
    slider.addEventListener("input", () => {
      const step = Number(slider.value);
      views.forEach((view, index) => {
        const picture = part.pictures[index];
        const at = (frames) => frames[Math.min(step, frames.length - 1)];
        if (picture.frames.length > 1) view.querySelector(".frame").src = at(picture.frames);
        if (picture.bounds.length > 1) view.querySelector(".bound").src = at(picture.bounds);
        const mark = view.querySelector(".mark");
        if (mark && picture.mark_step !== null) mark.classList.toggle("elsewhere", picture.mark_step !== step);
      });
      article.querySelector(".name").textContent = part.steps[step];
      slider.setAttribute("aria-valuetext", part.steps[step]);
    });
  }
})();
