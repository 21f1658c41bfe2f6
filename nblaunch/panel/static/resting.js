// What a page loads of a panel whose run has ended: the record, for where the page can only know the widget.
import { placeRecord } from "./notebook.js";

const resting = {
  /** @param {{model: import("@anywidget/types").AnyModel<any>}} context */
  initialize({ model }) {
    placeRecord(model);
  },
  /** @param {{model: import("@anywidget/types").AnyModel<any>, el: HTMLElement}} context */
  render({ model, el }) {
    el.innerHTML = model.get("record");
  },
};

export default resting;
