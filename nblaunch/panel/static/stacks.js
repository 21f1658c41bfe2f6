// Where every rank is now: the button that asks, and the text that comes.
import { iconButton, make, put, sign } from "./elements.js";
import { counted } from "./words.js";

/** The button in the panel's header, and what opens below it. */
class StacksView {
  /**
   * @param {{
   *   ask: () => Promise<string>, copy: (text: string, what: string) => void, when: () => string,
   *   say: (text: string) => void,
   * }} actions
   *   `when`: how long the run goes on by now, in words; `say`: aloud
   */
  constructor(actions) {
    this.actions = actions;
    this.asking = false;
    this.text = "";
    this.button = /** @type {HTMLButtonElement} */ (make("button", "ask", sign("stacks"), make("span", "", "Stacks")));
    this.button.title = "show where every rank is now, without disturbing it";
    this.button.setAttribute("aria-label", "Stacks: where is every rank now?");
    this.button.setAttribute("aria-expanded", "false");
    this.button.addEventListener("click", () => void this.#ask());
    this.title = make("span", "stackstitle");
    this.lines = make("div", "stackslines");
    this.lines.tabIndex = 0;
    this.lines.setAttribute("role", "group");
    this.lines.setAttribute("aria-label", "stacks of the ranks");
    const tools = make("span", "stackstools");
    tools.append(
      iconButton("restarting", "ask once more", () => void this.#ask()),
      iconButton("copy", "copy this text", () => actions.copy(this.text, counted(this.text.split("\n").length, "line"))),
      iconButton("close", "close (Escape)", () => this.close()),
    );
    this.el = make("section", "stacks", make("div", "stackshead", this.title, tools), this.lines);
    this.el.setAttribute("aria-label", "where the ranks are");
    this.el.hidden = true;
  }

  /**
   * Whether Escape, pressed there, means this.
   * @param {EventTarget | null} target
   */
  holds(target) {
    return !this.el.hidden && target instanceof Node && (this.el.contains(target) || this.button.contains(target));
  }

  close() {
    const had = this.el.contains(document.activeElement);
    this.el.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (had) this.button.focus({ preventScroll: true });
  }

  async #ask() {
    // one that waits is enough; it stays enabled, because a button that is not would lose the focus
    if (this.asking) return;
    this.asking = true;
    this.button.setAttribute("aria-busy", "true");
    try {
      const text = await this.actions.ask();
      this.#show(text, `where the ranks were after ${this.actions.when()}`);
    } catch (error) {
      this.#show(error instanceof Error ? error.message : String(error), "the ranks could not be asked");
    } finally {
      this.asking = false;
      this.button.removeAttribute("aria-busy");
    }
  }

  /**
   * @param {string} text
   * @param {string} title
   */
  #show(text, title) {
    this.text = text;
    put(this.title, title);
    // as text, line by line: names of files and functions are whatever the ranks' code calls them
    this.lines.replaceChildren(...text.split("\n").map((line) => make("div", /^\s/.test(line) ? "frame" : "place", line)));
    this.lines.scrollTop = 0;
    this.el.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.actions.say(title);
    // whoever has gone on to something else stays there
    if (this.button.contains(document.activeElement)) this.lines.focus({ preventScroll: true });
  }
}

export { StacksView };
