import { render } from "preact";
import { takeTokenFromAddress } from "./api";
import { App } from "./app";
import { applyLanguage } from "./i18n";
import { catchLinks } from "./router";
import { run } from "./stream";
import "./style/base.css";
import "./style/frame.css";
import "./style/pages.css";
import { applyTheme } from "./theme";

applyTheme();
applyLanguage();
takeTokenFromAddress();
catchLinks();
run();
render(<App />, document.body);
