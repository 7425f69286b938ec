// Sphinx's search, with a score more: first come pages and sections whose titles have the words that are asked for.
const stemmed = (text) => splitQuery(text.toLowerCase()).filter((word) => !stopwords.has(word))
  .map((word) => new Stemmer().stemWord(word));
var Scorer = {
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  score(result) {
    const { alltitles, docnames, titles, titleterms } = Search._index;
    const asked = [...new Set(stemmed(new URLSearchParams(location.search).get("q")))];
    const worth = (title) => {  // 10 a word, and up to 5 more for a word that few titles have
      const words = stemmed(title);
      const rarity = (word) => 5 / (1 + [titleterms[word] ?? []].flat().length);
      return asked.filter((word) => words.includes(word)).reduce((sum, word) => sum + 10 + rarity(word), 0);
    };
    const page = docnames.indexOf(result[0]);
    let best = 1.5 * worth(titles[page]);
    for (const [title, places] of Object.entries(alltitles)) {
      for (const [file, id] of places) {
        if (file !== page || worth(title) <= best) continue;
        best = worth(title);
        if (id) [result[1], result[2]] = [`${titles[page]} > ${title}`, `#${id}`];  // one click to the answer
      }
    }
    return result[4] + best + (result[0] === "docs/glossary" ? 1 : 0);  // what no title has, the glossary may define
  },
};
// Where no page has every word, any of them will do; an excerpt is of a page's text, not of its buttons.
const { performTermsSearch, htmlToText } = Search;
Search.performTermsSearch = (words, excluded) => {
  const found = performTermsSearch(words, excluded);
  return found.length ? found : [...words].flatMap((word) => performTermsSearch(new Set([word]), excluded));
};
Search.htmlToText = (html, anchor) => htmlToText(html, anchor || ".bd-article");
