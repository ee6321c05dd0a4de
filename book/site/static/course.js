// Boxes that scroll sideways can be reached, and scrolled, by keyboard.
(() => {
  const boxes =
    "mjx-container[display=true], div.highlight pre, .cell_output .output, .cell_output pre, " +
    ".pst-scrollable-table-container, .course-scroll";
  const names = { "MJX-CONTAINER": "Formula", PRE: "Code or output" };

  function letKeyboardScroll() {
    for (const box of document.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      if (scrolls && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        if (!box.hasAttribute("role") && box.tagName !== "MJX-CONTAINER") {
          box.setAttribute("role", "group");
          box.setAttribute("aria-label", names[box.tagName] || "Table");
        }
      }
    }
  }

  // Tables outside the theme's own scrolling boxes get one.
  for (const table of document.querySelectorAll(".bd-article .cell_output table")) {
    if (table.parentElement.closest(".pst-scrollable-table-container, .course-scroll")) continue;
    const box = document.createElement("div");
    box.className = "course-scroll";
    table.replaceWith(box);
    box.append(table);
  }

  letKeyboardScroll();
  addEventListener("load", letKeyboardScroll);
  addEventListener("resize", letKeyboardScroll);
  addEventListener("load", () => window.MathJax?.startup?.promise?.then(letKeyboardScroll));
})();

// The frames of a figure with sliders are fetched when somebody comes near it.
(() => {
  function fetchFrames(event) {
    for (const [source] of JSON.parse(event.currentTarget.dataset.frames)) new Image().src = source;
  }
  for (const figure of document.querySelectorAll("figure.flip-book[data-frames]")) {
    for (const kind of ["focusin", "pointerenter"]) {
      figure.addEventListener(kind, fetchFrames, { once: true });
    }
  }
})();
