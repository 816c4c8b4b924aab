import { t, type Key } from "./i18n";
import { pagesByKey } from "./keys";
import { Dialog } from "./widgets";

const others: [string, Key][] = [
  ["/", "key.search"], ["j k", "key.rows"], ["Enter", "key.open"], ["e", "key.expand"], ["t", "key.theme"], ["Esc", "key.esc"], ["?", "key.help"],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title={t("help.title")} onClose={onClose}>
      <dl class="keys">
        {Object.entries(pagesByKey).map(([k, page]) => (
          <div key={k}><dt><kbd>g</kbd> <kbd>{k}</kbd></dt><dd>{t(`tab.${page}` as Key)}</dd></div>
        ))}
        {others.map(([k, what]) => (
          <div key={k}><dt>{k.split(" ").map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{t(what)}</dd></div>
        ))}
      </dl>
    </Dialog>
  );
}
