"use strict";
// Pages are complete without this script. It only fetches a page again and replaces the parts that change.

const parts = () => [...document.querySelectorAll("[data-refresh]")];
const seconds = () => Math.max(0, ...parts().map((part) => Number(part.dataset.refresh)));

async function refresh() {
  while (seconds()) {
    await new Promise((resolve) => setTimeout(resolve, seconds() * 1000));
    if (document.hidden) continue;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = [...page.querySelectorAll("[data-refresh]")];
      if (!answer.ok || next.length !== parts().length) continue;
      // What somebody is using now is left alone until the next time.
      const isIdle = (part) => !part.contains(document.activeElement) || part.dataset.refresh !== next[parts().indexOf(part)].dataset.refresh;
      parts().forEach((part, place) => { if (isIdle(part)) part.replaceWith(document.importNode(next[place], true)); });
      document.dispatchEvent(new Event("refreshed"));
    } catch { /* the server does not answer now: what is shown stays, and the next attempt comes */ }
  }
}

refresh();
