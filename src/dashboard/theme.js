// Light or dark: as the system says, until somebody chooses otherwise on this page.
"use strict";

(() => {
  const KEY = "emporium-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  // A browser may forbid storage; the choice then lasts as long as the page.
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const store = (theme) => { try { theme ? localStorage.setItem(KEY, theme) : localStorage.removeItem(KEY); } catch { /* see above */ } };
  const system = () => (dark.matches ? "dark" : "light");
  const shown = () => root.dataset.theme ?? system();

  const chosen = stored();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  function tell() {
    const button = document.getElementById("theme");
    const other = shown() === "dark" ? "light" : "dark";
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
    button.title = button.getAttribute("aria-label");
    document.dispatchEvent(new Event("theme"));
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const other = shown() === "dark" ? "light" : "dark";
      // Back to what the system says is no choice to remember.
      if (other === system()) delete root.dataset.theme;
      else root.dataset.theme = other;
      store(root.dataset.theme);
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  });
})();
