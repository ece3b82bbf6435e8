// What a person would see wrong on a page of the report: a list of lines, empty if nothing.
() => {
  const faults = [];
  const printed = matchMedia("print").matches;
  const box = e => e.getBoundingClientRect();
  const name = e => (e.textContent.trim() || e.className || e.tagName).slice(0, 50);
  const inside = (inner, outer) => inner.left >= outer.left - 1 && inner.right <= outer.right + 1
    && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  const overlap = (a, b, by) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > by
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > by;
  const shown = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true});

  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page scrolls sideways: ${document.documentElement.scrollWidth}`);

  const cards = [...document.querySelectorAll("figure")].filter(shown);
  for (const card of cards) {
    const drawings = [...card.querySelectorAll("svg, canvas, img")].filter(d => shown(d) && box(d).width && !d.closest(".modebar"));
    if (!drawings.length && !card.querySelector(".gone")) faults.push(`an empty card: ${name(card)}`);
    for (const d of drawings) if (!inside(box(d), box(card))) faults.push(`a drawing leaves its card: ${name(card)}`);
    if (card.parentElement.matches(".figures") && !drawings.some(d => box(d).width > 250))
      faults.push(`a drawing is small: ${name(card)}`);
    if (drawings.length && box(card).height - Math.max(...drawings.map(d => box(d).height)) > 200)
      faults.push(`a card is mostly empty: ${name(card)}`);
  }
  cards.forEach((a, i) => { for (const b of cards.slice(i + 1)) if (overlap(box(a), box(b), 1)) faults.push(`cards overlap: ${name(a)}, ${name(b)}`); });

  for (const e of document.querySelectorAll(".scroll")) {
    if (!shown(e)) continue;
    const wide = e.scrollWidth > e.clientWidth + 1, said = getComputedStyle(e, "::before").content.includes("scroll");
    if (wide && printed) faults.push(`a table is cut on paper: ${name(e)}`);
    if (!printed && wide !== said) faults.push(`a table is ${wide ? "" : "not "}wide, but that is ${said ? "" : "not "}said: ${name(e)}`);
    e.classList.toggle("wide", wide || printed);  // as on a screen before it is printed
    if (printed && getComputedStyle(e, "::before").display !== "none") faults.push(`paper is said to scroll: ${name(e)}`);
    if (wide && e.tabIndex !== 0) faults.push(`a wide table cannot be scrolled by keys: ${name(e)}`);
  }

  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    const points = (plot._fullData || []).filter(t => t.type === "scatter3d").flatMap(t => t.marker.color);
    if (points.some(c => /^rgba\(.*,0?\.\d+\)$/.test(c))) faults.push("transparent points in three dimensions have other colours than the legend");
  }

  // Colours as [red, green, blue, alpha]; contrast as WCAG defines it.
  const parse = color => { const n = color.match(/[\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { if (printed) return [255, 255, 255]; for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0.5) return c.slice(0, 3); } };

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, style, title, .modebar") || !shown(parent)) continue;
    const drawn = parent.closest("svg text"), style = getComputedStyle(drawn || parent);
    let rects;
    if (drawn) rects = [box(drawn)];
    else { const range = document.createRange(); range.selectNodeContents(node); rects = [...range.getClientRects()]; }
    const matrix = drawn && drawn.getScreenCTM(), scale = drawn ? Math.hypot(matrix.a, matrix.b) : 1;
    const size = parseFloat(style.fontSize) * scale;
    for (const word of drawn ? [] : node.data.matchAll(/(?<=^|\s)[\w-]{2,12}(?=$|\s)/g)) {
      const range = document.createRange();
      range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
      const tops = [...range.getClientRects()].map(r => r.top);
      if (!word[0].includes("-") && Math.max(...tops) - Math.min(...tops) > 5) faults.push(`a word is broken: ${word[0]}`);
    }
    if (size < 9 && rects.some(r => r.width)) faults.push(`a text of ${size.toFixed(1)} pixels: ${node.data}`);
    const [a, b] = [light(parse(drawn ? style.fill : style.color).slice(0, 3)), light(behind(parent))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faults.push(`a text of little contrast: ${node.data}`);
    for (const rect of rects) {
      let {left, right, top, bottom} = rect;
      if (right - left < 1 || bottom - top < 1) continue;
      for (let e = drawn || parent; e && e !== document.body; e = e.parentElement) {
        if (getComputedStyle(e).overflowX === "visible") continue;
        const edge = box(e);
        if (e.matches(".scroll")) [left, right] = [Math.max(left, edge.left), Math.min(right, edge.right)];
        else if (e.matches(".errors ul")) [top, bottom] = [Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
        else if (!inside({left, right, top, bottom}, edge)) faults.push(`a text is cut: ${node.data}`);
      }
      if (left >= right || top >= bottom) continue;  // scrolled out of its table or list
      if (left < -1 || right > innerWidth + 1) faults.push(`a text leaves the page: ${node.data}`);
      const card = parent.closest("figure");
      if (card && !inside({left, right, top, bottom}, box(card))) faults.push(`a text leaves its card: ${node.data}`);
      texts.push({left, right, top, bottom, data: node.data.trim().slice(0, 50)});
    }
  }
  texts.sort((a, b) => a.top - b.top);
  texts.forEach((a, i) => {
    for (let j = i + 1; j < texts.length && texts[j].top < a.bottom; j++)
      if (overlap(a, texts[j], 2)) faults.push(`texts overlap: ${a.data} | ${texts[j].data}`);
  });
  return faults;
}
