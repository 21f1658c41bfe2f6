// What presence.js makes of a kernel that is silent, or is another one: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Presence } from "../../nblaunch/panel/static/presence.js";

/** @param {unknown} widget_manager */
const modelWith = (widget_manager) => /** @type {import("@anywidget/types").AnyModel<any>} */ (/** @type {unknown} */ ({ widget_manager }));

describe("a kernel", () => {
  test("is silent after six seconds in which this page has listened, and no more when it says something", (context) => {
    let now = 0;
    context.mock.method(performance, "now", () => now);
    const presence = new Presence(() => {});
    presence.listen();
    // asleep for an hour: this is no silence of the kernel
    now += 3_600_000;
    presence.goOn(500);
    assert.equal(presence.silent, false);
    for (let beats = 0; beats < 22; beats++) {
      now += 250;
      presence.goOn(500);
    }
    assert.equal(presence.silent, false);
    now += 250;
    presence.goOn(500);
    assert.equal(presence.silent, true);
    presence.hear();
    assert.equal(presence.silent, false);
  });

  /** @type {[name: string, managers: object[], lost: boolean[]][]} */
  const cases = [
    ["is there as long as nobody says otherwise", [{ kernel: { id: "a", status: "busy" } }, { kernel: { id: "a", status: "idle" } }], [false, false]],
    ["is lost when it restarts, which is told once", [{ kernel: { id: "a", status: "busy" } }, { kernel: { id: "a", status: "restarting" } }, { kernel: { id: "a", status: "busy" } }], [false, true, false]],
    ["is lost when there is another one", [{ kernel: { id: "a", status: "busy" } }, { kernel: { id: "b", status: "idle" } }], [false, true]],
    ["is lost when there is none any more", [{ kernel: { id: "a", status: "busy" } }, { kernel: null }], [false, true]],
    ["is not missed where the frontend tells of none", [{}, {}], [false, false]],
    ["is not missed where there was none yet", [{ kernel: null }, { kernel: { id: "a", status: "busy" } }], [false, false]],
  ];
  for (const [name, managers, lost] of cases) {
    test(name, () => {
      const presence = new Presence(() => {});
      assert.deepEqual(managers.map((manager) => presence.look(modelWith(manager))), lost);
      assert.equal(presence.lost, lost.includes(true));
    });
  }

  test("tells of its changes until the page leaves", () => {
    /** @type {Set<() => void>} */
    const heeding = new Set();
    const statusChanged = {
      connect: (/** @type {() => void} */ callback) => heeding.add(callback),
      disconnect: (/** @type {() => void} */ callback) => heeding.delete(callback),
    };
    const changed = () => {};
    const presence = new Presence(changed);
    const kernel = { id: "a", status: "busy", statusChanged };
    presence.look(modelWith({ kernel }));
    presence.look(modelWith({ kernel }));
    assert.deepEqual([...heeding], [changed]);
    presence.leave();
    assert.deepEqual([...heeding], []);
  });
});
