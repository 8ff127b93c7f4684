// Texts to begin with, and colours of labels that displaCy has none for.
export const EXAMPLES = [
  {
    title: "News",
    text: "Angela Merkel and Emmanuel Macron met Nokia's engineers in Brussels on Tuesday, the Irish Times reported. The company plans to open an office in Galway.",
  },
  {
    title: "Names within names",
    text: "The Bank of New Zealand moved from the London School of Economics to the University of Cambridge Hospital, near New York City Hall.",
  },
  {
    title: "German",
    text: "Der Rhein fließt durch Köln und Düsseldorf. Die Bayer AG aus Leverkusen verlor in München, sagte Petra Schmidt der Süddeutschen Zeitung.",
  },
  {
    title: "Everyday English",
    text: "nobody at the café told sara that the iphone she left at heathrow had been found 😀 she flies back to são paulo tomorrow",
  },
];

export const PALETTE = [
  "#83c758", "#c5af75", "#62bbf5", "#fab6ba", "#41ebb0", "#cf9fc9", "#bed955", "#42cab4",
  "#c1b508", "#f7aef0", "#eba002", "#b5fc8c", "#a8ceff", "#df9e93", "#f784c8", "#c3d398",
];
