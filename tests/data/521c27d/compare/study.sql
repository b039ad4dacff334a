BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'vanilla: search');
INSERT INTO "studies" VALUES(2,'vanilla: race');
INSERT INTO "studies" VALUES(3,'vanilla: confirmation');
INSERT INTO "studies" VALUES(4,'vanilla: recording');
INSERT INTO "studies" VALUES(5,'dps-dense: search');
INSERT INTO "studies" VALUES(6,'dps-dense: race');
INSERT INTO "studies" VALUES(7,'dps-dense: confirmation');
INSERT INTO "studies" VALUES(8,'dps-dense: recording');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MAXIMIZE',2,0);
INSERT INTO "study_directions" VALUES(3,'MAXIMIZE',3,0);
INSERT INTO "study_directions" VALUES(4,'MAXIMIZE',4,0);
INSERT INTO "study_directions" VALUES(5,'MAXIMIZE',5,0);
INSERT INTO "study_directions" VALUES(6,'MAXIMIZE',6,0);
INSERT INTO "study_directions" VALUES(7,'MAXIMIZE',7,0);
INSERT INTO "study_directions" VALUES(8,'MAXIMIZE',8,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'schema_version','1');
INSERT INTO "study_user_attributes" VALUES(2,1,'identity','{"task": "rte", "data": "23f6fa804b5cc2a0d99b5bbbb71904bcc6e0e894b1afc4f650c9b59adcaf9c3a", "model": "9a4bd86ecd66aa95", "space": {"method": ["vanilla"], "learning_rate": {"kind": "range", "low": 3e-05, "high": 0.0005, "log": true}}, "max_steps": 20, "seed": 0, "scheduler": "none", "sampler": "latin", "batch_size": 16, "epochs": 3.0, "max_length": 128, "evaluations": 6, "train_size": null, "select_on": "holdout", "precision": "fp32", "transfer": null, "probe": null}');
INSERT INTO "study_user_attributes" VALUES(3,5,'schema_version','1');
INSERT INTO "study_user_attributes" VALUES(4,5,'identity','{"task": "rte", "data": "23f6fa804b5cc2a0d99b5bbbb71904bcc6e0e894b1afc4f650c9b59adcaf9c3a", "model": "9a4bd86ecd66aa95", "space": {"method": ["dps-dense"], "learning_rate": {"kind": "range", "low": 3e-05, "high": 0.0005, "log": true}, "selection_ratio": {"kind": "range", "low": 0.2, "high": 0.9, "log": false}, "update_ratio": {"kind": "range", "low": 0.15, "high": 0.25, "log": true}}, "max_steps": 20, "seed": 0, "scheduler": "none", "sampler": "latin", "batch_size": 16, "epochs": 3.0, "max_length": 128, "evaluations": 6, "train_size": null, "select_on": "holdout", "precision": "fp32", "transfer": null, "probe": null}');
INSERT INTO "study_user_attributes" VALUES(5,1,'git_dirty','false');
INSERT INTO "study_user_attributes" VALUES(6,1,'precision','"fp32"');
INSERT INTO "study_user_attributes" VALUES(7,1,'search_id','"c5125f5fb28e431a890eb01b8c3dab63"');
INSERT INTO "study_user_attributes" VALUES(8,1,'seconds','101.38682762799999');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,3,0.46875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,7,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,10,0.5125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,13,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,17,0.5125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,20,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,2,3,0.4625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,2,7,0.49375,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,2,10,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,2,13,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,2,17,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,2,20,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,3,3,0.4875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,3,7,0.51875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,3,10,0.51875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,3,13,0.51875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,3,17,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,3,20,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,4,3,0.49375,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,4,7,0.5125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,4,10,0.51875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,4,13,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,4,17,0.50625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,4,20,0.525,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,5,20,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(26,6,20,0.5225,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(27,7,20,0.4875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(28,8,20,0.5075,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(29,9,20,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(30,10,20,0.4925,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'learning_rate',3.38179203513736762604e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(2,2,'learning_rate',3.38179203513736762604e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(3,2,'selection_ratio',3.46172308593942268384e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(4,2,'update_ratio',2.37229813936098710147e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(5,3,'learning_rate',1.34653242108238689741e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(6,4,'learning_rate',1.34653242108238689741e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(7,4,'selection_ratio',7.14039699548997486289e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(8,4,'update_ratio',1.70059727970170965205e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(9,5,'learning_rate',3.38179203513736762604e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(10,6,'learning_rate',1.34653242108238689741e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(11,6,'selection_ratio',7.14039699548997486289e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(12,6,'update_ratio',1.70059727970170965205e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(13,7,'learning_rate',3.38179203513736762604e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(14,8,'learning_rate',1.34653242108238689741e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(15,8,'selection_ratio',7.14039699548997486289e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(16,8,'update_ratio',1.70059727970170965205e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(17,9,'learning_rate',3.38179203513736762604e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(18,10,'learning_rate',1.34653242108238689741e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(19,10,'selection_ratio',7.14039699548997486289e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(20,10,'update_ratio',1.70059727970170965205e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'fixed_params','{"method": "dps-dense", "learning_rate": 3.3817920351373676e-05, "selection_ratio": 0.34617230859394227, "update_ratio": 0.2372298139360987}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'fixed_params','{"method": "vanilla", "learning_rate": 0.0001346532421082387}');
INSERT INTO "trial_system_attributes" VALUES(4,4,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_system_attributes" VALUES(5,5,'fixed_params','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_system_attributes" VALUES(6,6,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_system_attributes" VALUES(7,7,'fixed_params','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_system_attributes" VALUES(8,8,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_system_attributes" VALUES(9,9,'fixed_params','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_system_attributes" VALUES(10,10,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(2,1,'configuration','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'seconds','11.144982911999932');
INSERT INTO "trial_user_attributes" VALUES(5,1,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'began','1795945543.8854427');
INSERT INTO "trial_user_attributes" VALUES(7,1,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(9,1,'peak_memory','1225678848');
INSERT INTO "trial_user_attributes" VALUES(10,1,'parts','{"start": 0.22158634499987784, "evaluation": 5.210598750000372, "report": 0.01567829400005394}');
INSERT INTO "trial_user_attributes" VALUES(11,2,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(12,2,'configuration','{"method": "dps-dense", "learning_rate": 3.3817920351373676e-05, "selection_ratio": 0.34617230859394227, "update_ratio": 0.2372298139360987}');
INSERT INTO "trial_user_attributes" VALUES(13,2,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(14,2,'seconds','11.097897375000002');
INSERT INTO "trial_user_attributes" VALUES(15,2,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(16,2,'began','1795945555.2269564');
INSERT INTO "trial_user_attributes" VALUES(17,2,'waited','0.1965066630000365');
INSERT INTO "trial_user_attributes" VALUES(18,2,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(19,2,'selected_share','0.34617451130769783');
INSERT INTO "trial_user_attributes" VALUES(20,2,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(21,2,'peak_memory','1326010368');
INSERT INTO "trial_user_attributes" VALUES(22,2,'parts','{"start": 0.03873776600016754, "evaluation": 5.459483604000297, "report": 0.02002436099996885}');
INSERT INTO "trial_user_attributes" VALUES(23,3,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(24,3,'configuration','{"method": "vanilla", "learning_rate": 0.0001346532421082387}');
INSERT INTO "trial_user_attributes" VALUES(25,3,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(26,3,'seconds','11.460321630999942');
INSERT INTO "trial_user_attributes" VALUES(27,3,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(28,3,'began','1795945566.5522866');
INSERT INTO "trial_user_attributes" VALUES(29,3,'waited','0.22739686899990375');
INSERT INTO "trial_user_attributes" VALUES(30,3,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(31,3,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(32,3,'peak_memory','1291026432');
INSERT INTO "trial_user_attributes" VALUES(33,3,'parts','{"start": 0.005781886000022496, "evaluation": 5.280645546999722, "report": 0.021000687999958245}');
INSERT INTO "trial_user_attributes" VALUES(34,4,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(35,4,'configuration','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_user_attributes" VALUES(36,4,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(37,4,'seconds','10.655171320000136');
INSERT INTO "trial_user_attributes" VALUES(38,4,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(39,4,'began','1795945578.1175401');
INSERT INTO "trial_user_attributes" VALUES(40,4,'waited','0.10490616799984309');
INSERT INTO "trial_user_attributes" VALUES(41,4,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(42,4,'selected_share','0.7140413389396211');
INSERT INTO "trial_user_attributes" VALUES(43,4,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(44,4,'peak_memory','1304743936');
INSERT INTO "trial_user_attributes" VALUES(45,4,'parts','{"start": 0.03024739099987528, "evaluation": 4.95670514499966, "report": 0.016432076000683082}');
INSERT INTO "trial_user_attributes" VALUES(46,5,'seed','1');
INSERT INTO "trial_user_attributes" VALUES(47,5,'configuration','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_user_attributes" VALUES(48,5,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(49,5,'seconds','8.510285285999998');
INSERT INTO "trial_user_attributes" VALUES(50,5,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(51,5,'began','1795945588.929453');
INSERT INTO "trial_user_attributes" VALUES(52,5,'waited','0.15671766700006629');
INSERT INTO "trial_user_attributes" VALUES(53,5,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(54,5,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(55,5,'peak_memory','1281069056');
INSERT INTO "trial_user_attributes" VALUES(56,5,'parts','{"start": 0.060570906000066316, "evaluation": 2.1312577369999417, "report": 0.0022307110000383545}');
INSERT INTO "trial_user_attributes" VALUES(57,5,'final','{"dev": {"accuracy": 0.5}}');
INSERT INTO "trial_user_attributes" VALUES(58,6,'seed','1');
INSERT INTO "trial_user_attributes" VALUES(59,6,'configuration','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_user_attributes" VALUES(60,6,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(61,6,'seconds','7.949760112000149');
INSERT INTO "trial_user_attributes" VALUES(62,6,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(63,6,'began','1795945597.5557504');
INSERT INTO "trial_user_attributes" VALUES(64,6,'waited','0.11597646099994563');
INSERT INTO "trial_user_attributes" VALUES(65,6,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(66,6,'selected_share','0.7140414008683902');
INSERT INTO "trial_user_attributes" VALUES(67,6,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(68,6,'peak_memory','1339383808');
INSERT INTO "trial_user_attributes" VALUES(69,6,'parts','{"start": 0.03626489999987825, "evaluation": 2.0519398070000534, "report": 0.0027568410000640142}');
INSERT INTO "trial_user_attributes" VALUES(70,6,'final','{"dev": {"accuracy": 0.5225}}');
INSERT INTO "trial_user_attributes" VALUES(71,7,'seed','2');
INSERT INTO "trial_user_attributes" VALUES(72,7,'configuration','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_user_attributes" VALUES(73,7,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(74,7,'seconds','8.528042222000067');
INSERT INTO "trial_user_attributes" VALUES(75,7,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(76,7,'began','1795945605.5966892');
INSERT INTO "trial_user_attributes" VALUES(77,7,'waited','0.09114171199985321');
INSERT INTO "trial_user_attributes" VALUES(78,7,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(79,7,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(80,7,'peak_memory','1291857920');
INSERT INTO "trial_user_attributes" VALUES(81,7,'parts','{"start": 0.003958045999979731, "evaluation": 2.253481413999907, "report": 0.0027562010000110604}');
INSERT INTO "trial_user_attributes" VALUES(82,7,'final','{"dev": {"accuracy": 0.4875}}');
INSERT INTO "trial_user_attributes" VALUES(83,8,'seed','2');
INSERT INTO "trial_user_attributes" VALUES(84,8,'configuration','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_user_attributes" VALUES(85,8,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(86,8,'seconds','8.235247614999935');
INSERT INTO "trial_user_attributes" VALUES(87,8,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(88,8,'began','1795945614.2713668');
INSERT INTO "trial_user_attributes" VALUES(89,8,'waited','0.14660312200021508');
INSERT INTO "trial_user_attributes" VALUES(90,8,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(91,8,'selected_share','0.7140414008683901');
INSERT INTO "trial_user_attributes" VALUES(92,8,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(93,8,'peak_memory','1307619328');
INSERT INTO "trial_user_attributes" VALUES(94,8,'parts','{"start": 0.02985149599999204, "evaluation": 2.160446125999897, "report": 0.00420023000015135}');
INSERT INTO "trial_user_attributes" VALUES(95,8,'final','{"dev": {"accuracy": 0.5075}}');
INSERT INTO "trial_user_attributes" VALUES(96,9,'seed','3');
INSERT INTO "trial_user_attributes" VALUES(97,9,'configuration','{"method": "vanilla", "learning_rate": 3.3817920351373676e-05}');
INSERT INTO "trial_user_attributes" VALUES(98,9,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(99,9,'seconds','8.11981055299998');
INSERT INTO "trial_user_attributes" VALUES(100,9,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(101,9,'began','1795945622.6147676');
INSERT INTO "trial_user_attributes" VALUES(102,9,'waited','0.10811915900012536');
INSERT INTO "trial_user_attributes" VALUES(103,9,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(104,9,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(105,9,'peak_memory','1277239296');
INSERT INTO "trial_user_attributes" VALUES(106,9,'parts','{"start": 0.005678580999983751, "evaluation": 1.9293548570001349, "report": 0.0047213130001182435}');
INSERT INTO "trial_user_attributes" VALUES(107,9,'final','{"dev": {"accuracy": 0.5}}');
INSERT INTO "trial_user_attributes" VALUES(108,10,'seed','3');
INSERT INTO "trial_user_attributes" VALUES(109,10,'configuration','{"method": "dps-dense", "learning_rate": 0.0001346532421082387, "selection_ratio": 0.7140396995489975, "update_ratio": 0.17005972797017097}');
INSERT INTO "trial_user_attributes" VALUES(110,10,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(111,10,'seconds','7.900532496000096');
INSERT INTO "trial_user_attributes" VALUES(112,10,'slot','"31fbf398"');
INSERT INTO "trial_user_attributes" VALUES(113,10,'began','1795945630.898357');
INSERT INTO "trial_user_attributes" VALUES(114,10,'waited','0.1637531480000689');
INSERT INTO "trial_user_attributes" VALUES(115,10,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(116,10,'selected_share','0.7140413389396211');
INSERT INTO "trial_user_attributes" VALUES(117,10,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(118,10,'peak_memory','1245032448');
INSERT INTO "trial_user_attributes" VALUES(119,10,'parts','{"start": 0.02735385400001178, "evaluation": 1.9973222259998238, "report": 0.0025485579999440233}');
INSERT INTO "trial_user_attributes" VALUES(120,10,'final','{"dev": {"accuracy": 0.4925}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.50625,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.50625,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,0.525,'FINITE');
INSERT INTO "trial_values" VALUES(5,5,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(6,6,0,0.5225,'FINITE');
INSERT INTO "trial_values" VALUES(7,7,0,0.4875,'FINITE');
INSERT INTO "trial_values" VALUES(8,8,0,0.5075,'FINITE');
INSERT INTO "trial_values" VALUES(9,9,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(10,10,0,0.4925,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-29 09:45:37.711920','2026-11-29 09:45:55.055556');
INSERT INTO "trials" VALUES(2,0,5,'COMPLETE','2026-11-29 09:45:55.105268','2026-11-29 09:46:06.375537');
INSERT INTO "trials" VALUES(3,1,1,'COMPLETE','2026-11-29 09:46:06.482966','2026-11-29 09:46:18.044835');
INSERT INTO "trials" VALUES(4,1,5,'COMPLETE','2026-11-29 09:46:18.056501','2026-11-29 09:46:28.812812');
INSERT INTO "trials" VALUES(5,0,3,'COMPLETE','2026-11-29 09:46:28.824825','2026-11-29 09:46:37.461621');
INSERT INTO "trials" VALUES(6,0,7,'COMPLETE','2026-11-29 09:46:37.472703','2026-11-29 09:46:45.529429');
INSERT INTO "trials" VALUES(7,1,3,'COMPLETE','2026-11-29 09:46:45.555698','2026-11-29 09:46:54.161672');
INSERT INTO "trials" VALUES(8,1,7,'COMPLETE','2026-11-29 09:46:54.206904','2026-11-29 09:47:02.544738');
INSERT INTO "trials" VALUES(9,2,3,'COMPLETE','2026-11-29 09:47:02.582608','2026-11-29 09:47:10.808346');
INSERT INTO "trials" VALUES(10,2,7,'COMPLETE','2026-11-29 09:47:10.828899','2026-11-29 09:47:18.829790');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
