// Runs before the first paint, so that a remembered theme never flashes the other one.
// A classic script: modules run too late for this.
(() => {
  const remembered = localStorage.getItem("ilink.theme");
  if (remembered === "light" || remembered === "dark") document.documentElement.dataset.theme = remembered;
})();
