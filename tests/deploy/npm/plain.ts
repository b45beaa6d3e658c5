// Grafana's own types, with the names of its enumerations' members as the JSON spells them.
import type { Dashboard, FieldConfigSource, Panel as AnyPanel, RowPanel } from "@grafana/schema";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as States from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as Lines from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends readonly (infer One)[]
      ? Plain<One>[]
      : T extends object
        ? { [Key in keyof T]: Plain<T[Key]> }
        : T;

type Custom<T> = Omit<FieldConfigSource, "defaults"> & {
  defaults: Omit<FieldConfigSource["defaults"], "custom"> & { custom?: Partial<T> };
};
type Panel<Kind extends string, Options, Field> = Omit<AnyPanel, "type" | "options" | "fieldConfig"> & {
  type: Kind;
  title: string;
  description: string;
  gridPos: NonNullable<AnyPanel["gridPos"]>;
  options: Partial<Options>;
  fieldConfig: Custom<Field>;
};
type Ours =
  | Panel<"stat", Stat.Options, object>
  | Panel<"bargauge", BarGauge.Options, object>
  | Panel<"state-timeline", States.Options, States.FieldConfig>
  | Panel<"table", Omit<Table.Options, "frameIndex">, Table.FieldConfig>
  | Panel<"timeseries", Lines.Options, Lines.FieldConfig>
  | RowPanel;

export type Board = Plain<Omit<Dashboard, "panels"> & { uid: string; title: string; panels: Ours[] }>;
